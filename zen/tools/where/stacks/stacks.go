// Package stacks makes a picture of where a Go program waits, from the stacks that
// the program prints when it receives SIGQUIT.
package stacks

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// FirstLine is the line before the stacks.
const FirstLine = "SIGQUIT: quit"

// Picture returns the picture of the stacks in dump, which may be from several
// processes. Each line is a place: how many goroutines wait there, their state, and
// their functions, the outermost first.
//
// Picture shows only functions of this repository, and those of package zen and of
// the program itself without the package's name. Of the calls within another
// package, such as poll, it shows only the first.
func Picture(dump string) string {
	count := map[[2]string]int{} // goroutines by functions and state
	for stack := range strings.SplitSeq(strings.ReplaceAll(dump, "\r", ""), "\n\n") {
		stack, _, _ = strings.Cut(stack, "\n[originating from ") // the goroutine that has started this one
		if header, path := state.FindStringSubmatch(stack), functions(stack); header != nil && path != "" {
			count[[2]string{path, header[1]}]++
		}
	}
	var picture strings.Builder
	for _, place := range slices.SortedFunc(maps.Keys(count), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		fmt.Fprintf(&picture, "%d %-12s  %s\n", count[place], place[1], place[0])
	}
	return picture.String()
}

// functions returns our functions in the stack of a goroutine, or "" if it has none.
// A closure in which a goroutine starts stands for the function that contains it;
// other closures are left out, as is what the compiler adds.
func functions(stack string) string {
	var names []string
	previous := "" // package
	lines := strings.Split(stack, "\n")
	slices.Reverse(lines) // the outermost function is the last
	for _, line := range lines {
		match := frame.FindStringSubmatch(line)
		if match == nil || strings.Contains(line, ".gowrap") || names != nil && closure.MatchString(match[2]) {
			continue
		}
		pkg, name := match[1], strings.NewReplacer("(*", "", ")", "").Replace(closure.ReplaceAllString(match[2], ""))
		if pkg != "" {
			name = pkg + "." + name
		}
		if (pkg == "" || pkg != previous) && (names == nil || name != names[len(names)-1]) {
			names, previous = append(names, name), pkg
		}
	}
	return strings.Join(names, " > ")
}

var (
	state   = regexp.MustCompile(`(?m)^goroutine \d+ .*\[([^,\]]*)`) // without ", 2 minutes]:"
	frame   = regexp.MustCompile(`^(?:main|fopnp/chapter07/\w+|fopnp/chapter07/zen/(?:\w+/)*(\w+))\.(.*)\(`)
	closure = regexp.MustCompile(`(\.func\d+|\.\d+|-range\d+)+$`)
)
