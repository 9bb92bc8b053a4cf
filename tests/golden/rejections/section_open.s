; a section that is entered and not left
.type SCHED_CLS
call kernel bpf_rcu_read_lock
r0 = 0
exit                      ; error: E1118
