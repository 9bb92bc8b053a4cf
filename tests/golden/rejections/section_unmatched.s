; a section that is left and was not entered
.type SCHED_CLS
call kernel bpf_rcu_read_unlock   ; error: E1118
r0 = 0
exit
