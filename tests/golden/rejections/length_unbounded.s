; a length without a bound
r2 = *(u32 *)(r1 + 0)
*(u64 *)(r10 - 8) = 0
r3 = r10
r3 += -8
r4 = r2
r2 = 0
call skb_load_bytes       ; error: E1112
r0 = 0
exit
