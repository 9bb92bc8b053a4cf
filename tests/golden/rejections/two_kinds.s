; one access, two kinds of memory
r6 = *(u32 *)(r1 + 0)
*(u64 *)(r10 - 8) = 0
r2 = r10
r2 += -8
if r6 > 64 goto +1
r2 = r1
r0 = *(u32 *)(r2 + 0)     ; error: E1109
exit
