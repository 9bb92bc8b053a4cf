; a length that may be 0
r2 = *(u32 *)(r1 + 0)
r2 &= 7
*(u64 *)(r10 - 8) = 0
r1 = r10
r1 += -8
r3 = 0
call get_current_comm     ; error: E1112
r0 = 0
exit
.type KPROBE
