package stacks

import "syscall"

func init() { Attributes.Pdeathsig = syscall.SIGKILL }
