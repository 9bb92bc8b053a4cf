; nine frames
call function f1
exit
.function f1 static
call function f2
exit
.function f2 static
call function f3
exit
.function f3 static
call function f4
exit
.function f4 static
call function f5
exit
.function f5 static
call function f6
exit
.function f6 static
call function f7
exit
.function f7 static
call function f8          ; error: E1127
exit
.function f8 static
r0 = 0
exit
