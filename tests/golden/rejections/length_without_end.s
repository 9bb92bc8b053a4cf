; a length that was only tested for 0
r4 = *(u32 *)(r1 + 0)
if r4 == 0 goto +5
r3 = r10
r3 += -8
r2 = 0
call skb_load_bytes       ; error: E1112
exit
r0 = 0
exit
