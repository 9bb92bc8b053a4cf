; a field of a kernel object is written
.type KPROBE
call get_current_task_btf
*(u32 *)(r0 + 8) = 1      ; error: E1121
r0 = 0
exit
