; a result that the type does not allow
.type CGROUP_SKB
r0 = 7
exit                      ; error: E1124
