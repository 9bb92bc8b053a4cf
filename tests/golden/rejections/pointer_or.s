; bits of a pointer are set
.without PERFMON SYS_ADMIN
r2 = r10
r2 |= 4                   ; error: E1108
r0 = 0
exit
