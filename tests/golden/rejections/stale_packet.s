; a packet pointer after the packet was changed
.type XDP
r6 = r1
r7 = *(u32 *)(r6 + 0)
r2 = *(u32 *)(r6 + 4)
r3 = r7
r3 += 14
if r3 > r2 goto +5
r1 = r6
r2 = 4
call xdp_adjust_head
r0 = *(u8 *)(r7 + 0)      ; error: E1102
exit
r0 = 2
exit
