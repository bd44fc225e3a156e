// Package stacks makes a picture of where a Go program waits, from the stacks that
// the program prints when it receives SIGQUIT.
package stacks

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// FirstLine is the line before the stacks.
const FirstLine = "SIGQUIT: quit"

// A place is where a goroutine waits.
type place struct {
	state string // of the goroutine, such as "IO wait"
	path  string // its functions, such as "main > serve"
}

// Picture returns the picture of the stacks in dump, which may be from several
// processes. Each line is a place: how many goroutines wait there, their state, and
// their functions, the outermost first. Goroutines that start in main come first.
//
// Picture shows only functions of this repository, and those of package zen and of
// the program itself without the package's name. Of the calls within another
// package, such as poll, it shows only the first.
func Picture(dump string) string {
	count := map[place]int{}
	for text := range strings.SplitSeq(dump, "\n\n") {
		header, path := state.FindStringSubmatch(text), functions(text)
		if header != nil && path != "" {
			count[place{header[1], path}]++
		}
	}
	var places []place
	for p := range count {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.path, b.path), cmp.Compare(a.state, b.state))
	})
	var picture strings.Builder
	for _, p := range places {
		fmt.Fprintf(&picture, "%d %-12s  %s\n", count[p], p.state, p.path)
	}
	return picture.String()
}

func order(p place) int {
	if strings.HasPrefix(p.path, "main") {
		return 0
	}
	return 1
}

// functions returns our functions in the stack of a goroutine, or "" if it has none.
// A closure in which a goroutine starts stands for the function that contains it;
// other closures are left out, as is what the compiler adds.
func functions(stack string) string {
	var names []string
	lines := strings.Split(stack, "\n")
	slices.Reverse(lines) // the outermost function is the last
	previous := ""
	for _, line := range lines {
		match := frame.FindStringSubmatch(line)
		if match == nil || strings.Contains(line, ".gowrap") || names != nil && closure.MatchString(match[2]) {
			continue
		}
		pkg := match[1]
		name := strings.NewReplacer("(*", "", ")", "").Replace(closure.ReplaceAllString(match[2], ""))
		if pkg != "" {
			name = pkg + "." + name
		}
		if pkg != "" && pkg == previous || names != nil && name == names[len(names)-1] {
			continue
		}
		previous = pkg
		names = append(names, name)
	}
	return strings.Join(names, " > ")
}

var (
	state   = regexp.MustCompile(`(?m)^goroutine \d+ .*\[([^,\]]*)`) // without ", 2 minutes]:"
	frame   = regexp.MustCompile(`^(?:main|fopnp/chapter07/\w+|fopnp/chapter07/zen/(?:\w+/)*(\w+))\.(.*)\(`)
	closure = regexp.MustCompile(`(\.func\d+|\.\d+|-range\d+)+$`)
)
