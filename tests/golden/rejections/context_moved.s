; the context at a computed place
r6 = *(u32 *)(r1 + 0)
r6 &= 4
r1 += r6
r0 = *(u32 *)(r1 + 0)     ; error: E1110
exit
