; memory of the function is read that nothing was written to
.without PERFMON SYS_ADMIN
r0 = *(u64 *)(r10 - 8)    ; error: E1105
exit
