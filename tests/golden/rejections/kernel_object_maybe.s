; a task that may be gone is given back without a test
.type SCHED_CLS
r1 = 1
call kernel bpf_task_from_pid
r1 = r0
call kernel bpf_task_release  ; error: E1101
r0 = 0
exit
