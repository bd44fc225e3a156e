package poll

import "syscall"

type descriptor = syscall.Handle
