; an address as the result, without the capability
.without PERFMON SYS_ADMIN
r0 = r10
exit                      ; error: E1123
