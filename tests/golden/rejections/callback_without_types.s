; callbacks need the types of functions; error: E1190
.types off
.lines off
r1 = 3
r2 = function body
r3 = 0
r4 = 0
call loop
r0 = 0
exit
.function body static
r0 = 0
exit
