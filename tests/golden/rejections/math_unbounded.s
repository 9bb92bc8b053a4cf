; a pointer moved by a number without any bound
.map table ARRAY 4 16 1
.map wild ARRAY 4 8 1
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map wild
call map_lookup_elem
if r0 == 0 goto +11
r6 = *(u64 *)(r0 + 0)
r2 = r10
r2 += -4
r1 = map table
call map_lookup_elem
if r0 == 0 goto +3
r0 += r6                  ; error: E1104
r0 = *(u8 *)(r0 + 0)
exit
r0 = 0
exit
