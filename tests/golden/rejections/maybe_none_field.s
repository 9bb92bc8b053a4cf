; a field of a missing value is taken
.map flows HASH 4 16 16
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map flows
call map_lookup_elem
r0 += 8                   ; error: E1101
r0 = *(u64 *)(r0 + 0)
exit
