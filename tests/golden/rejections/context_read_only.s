; a field that may only be read
*(u32 *)(r1 + 0) = 1      ; error: E1110
r0 = 0
exit
