; an index masked to 31 into a value of 16 bytes
.map table ARRAY 4 16 1
r6 = *(u32 *)(r1 + 0)
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map table
call map_lookup_elem
if r0 == 0 goto +4
r6 &= 31
r0 += r6
r0 = *(u8 *)(r0 + 0)      ; error: E1104
exit
r0 = 0
exit
