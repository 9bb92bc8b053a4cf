; a record is read after it was submitted
.map events RINGBUF 0 0 4096
r1 = map events
r2 = 16
r3 = 0
call ringbuf_reserve
if r0 == 0 goto +5
r6 = r0
r1 = r0
r2 = 0
call ringbuf_submit
r0 = *(u64 *)(r6 + 0)     ; error: E1102
exit
