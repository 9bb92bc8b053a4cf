; a helper for GPL-compatible programs only
.license Proprietary
r1 = 0
r2 = 0
*(u64 *)(r10 - 8) = 0
r1 = r10
r1 += -8
r2 = 8
r3 = 0
call trace_printk         ; error: E1115
r0 = 0
exit
