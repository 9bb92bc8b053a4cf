; an atomic operation on the context
r2 = 1
lock *(u32 *)(r1 + 8) += w2  ; error: E1130
r0 = 0
exit
