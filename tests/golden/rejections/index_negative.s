; an index that was only compared from above may be negative
.map table ARRAY 4 16 1
.map wild ARRAY 4 8 1
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map wild
call map_lookup_elem
if r0 == 0 goto +12
r6 = *(u64 *)(r0 + 0)
if r6 s> 15 goto +10
if r6 s< -15 goto +9
r2 = r10
r2 += -4
r1 = map table
call map_lookup_elem
if r0 == 0 goto +3
r0 += r6
r0 = *(u8 *)(r0 + 0)      ; error: E1104
exit
r0 = 0
exit
