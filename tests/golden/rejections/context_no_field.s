; an offset at which the context has nothing
.type XDP
r0 = *(u32 *)(r1 + 200)   ; error: E1110
exit
