; the value of a missing key, without line information; error: E1101
.lines off
.map counts HASH 4 8 16
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map counts
call map_lookup_elem
r0 = *(u64 *)(r0 + 0)
exit
