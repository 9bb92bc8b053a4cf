; a variable offset into the packet whose test covers too few bytes
.type XDP
r2 = *(u32 *)(r1 + 0)
r3 = *(u32 *)(r1 + 4)
r4 = r2
r4 += 14
if r4 > r3 goto +8
r5 = *(u8 *)(r2 + 0)
r5 &= 15
r2 += r5
r4 = r2
r4 += 2
if r4 > r3 goto +3
r0 = *(u32 *)(r2 + 0)     ; error: E1103
exit
r0 = 2
exit
