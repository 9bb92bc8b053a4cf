; eight bytes at offset 12 of a value of 16 bytes
.map table ARRAY 4 16 1
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map table
call map_lookup_elem
if r0 == 0 goto +2
r0 = *(u64 *)(r0 + 12)    ; error: E1104
exit
r0 = 0
exit
