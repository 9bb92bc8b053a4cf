; a kernel function of other program types
r1 = 0
call kernel bpf_task_release  ; error: E1113
r0 = 0
exit
