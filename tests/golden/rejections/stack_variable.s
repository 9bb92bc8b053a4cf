; a local array is read at an index that may be too large
r6 = *(u32 *)(r1 + 0)
r6 &= 63
*(u64 *)(r10 - 8) = 0
*(u64 *)(r10 - 16) = 0
r2 = r10
r2 += -16
r2 += r6
r0 = *(u8 *)(r2 + 0)      ; error: E1106
exit
