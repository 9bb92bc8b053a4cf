; a record is submitted twice
.map events RINGBUF 0 0 4096
r1 = map events
r2 = 16
r3 = 0
call ringbuf_reserve
if r0 == 0 goto +7
r6 = r0
r1 = r6
r2 = 0
call ringbuf_submit
r1 = r6
r2 = 0
call ringbuf_submit       ; error: E1117
r0 = 0
exit
