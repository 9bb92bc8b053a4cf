; the test covers 14 bytes, the access needs 24
.type XDP
r2 = *(u32 *)(r1 + 0)
r3 = *(u32 *)(r1 + 4)
r4 = r2
r4 += 14
if r4 > r3 goto +2
r0 = *(u8 *)(r2 + 23)     ; error: E1103
exit
r0 = 2
exit
