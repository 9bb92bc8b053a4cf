; arithmetic on the end of the packet
.type XDP
r2 = *(u32 *)(r1 + 4)
r2 += 8                   ; error: E1108
r0 = 0
exit
