; a length that may be negative
.map wild ARRAY 4 8 1
r7 = r1
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map wild
call map_lookup_elem
if r0 == 0 goto +8
r4 = *(u64 *)(r0 + 0)
if r4 s> 8 goto +6
r3 = r10
r3 += -16
r1 = r7
r2 = 0
call skb_load_bytes       ; error: E1112
exit
r0 = 0
exit
