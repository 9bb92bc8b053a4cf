; the value of a missing key is read
.map counts HASH 4 8 16
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map counts
call map_lookup_elem
r6 = r0
r0 = *(u64 *)(r6 + 0)     ; error: E1101
exit
