; an iterator that was never made is asked for its next number
.type SCHED_CLS
r1 = r10
r1 += -8
call kernel bpf_iter_num_next ; error: E1120
r0 = 0
exit
