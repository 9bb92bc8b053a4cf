; a global function whose pointer argument may be None
r1 = r10
r1 += -8
*(u64 *)(r10 - 8) = 0
call function look
exit
.function look global mem
r0 = *(u64 *)(r1 + 0)     ; error: E1101
exit
