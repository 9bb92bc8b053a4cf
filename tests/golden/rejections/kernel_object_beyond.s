; a kernel object is read far beyond its fields
.type KPROBE
call get_current_task_btf
r0 = *(u64 *)(r0 + 32000) ; error: E1121
exit
