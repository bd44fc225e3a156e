// Package stacks makes a picture of where a Go program waits, from the stacks that
// the program prints when it receives SIGQUIT.
package stacks

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Picture returns the picture of the stacks in dump, which may be from several
// processes. Each line is a place: how many goroutines wait there, their state, and
// their functions, the outermost first. The picture is empty if dump has no stacks.
//
// Picture shows the functions of this repository: all of the program itself, and the
// exported ones of packages. Package zen is left out of their names.
func Picture(dump string) string {
	count := map[[2]string]int{} // goroutines by functions and state
	for stack := range strings.SplitSeq(strings.ReplaceAll(dump, "\r", ""), "\n\n") {
		stack, _, _ = strings.Cut(stack, "\n[originating from ") // the goroutine that has started this one
		if header, path := state.FindStringSubmatch(stack), functions(stack); header != nil && path != "" {
			count[[2]string{path, header[1]}]++
		}
	}
	// What starts in main comes first: without "main" it is empty or begins with a space.
	order := func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(strings.TrimPrefix(a[0], "main"), strings.TrimPrefix(b[0], "main")), cmp.Compare(a[1], b[1]))
	}
	var picture strings.Builder
	for _, place := range slices.SortedFunc(maps.Keys(count), order) {
		fmt.Fprintf(&picture, "%d %-12s %s\n", count[place], place[1], place[0])
	}
	return picture.String()
}

// functions returns our functions in the stack of a goroutine, or "" if it has none.
// A closure in which a goroutine starts stands for the function that contains it;
// other closures are left out, as is what the compiler adds.
func functions(stack string) string {
	var names []string
	lines := strings.Split(stack, "\n")
	slices.Reverse(lines) // the outermost function is the last
	for _, line := range lines {
		match := frame.FindStringSubmatch(line)
		if match == nil || strings.Contains(line, ".gowrap") || names != nil && closure.MatchString(match[3]) {
			continue
		}
		name := strings.NewReplacer("(*", "", ")", "").Replace(closure.ReplaceAllString(match[3], ""))
		if inPackage := match[1] == "zen" || match[2] != ""; inPackage && !exported.MatchString(name) {
			continue
		}
		if match[2] != "" {
			name = match[2] + "." + name
		}
		names = append(names, name)
	}
	return strings.Join(slices.Compact(names), " > ")
}

var (
	state = regexp.MustCompile(`(?m)^goroutine \d+ .*\[([^,\]]*)`) // without ", 2 minutes]:"
	// A function of the program, which is main or, in a test, its folder; of package
	// zen; or of a package below zen.
	frame    = regexp.MustCompile(`^(?:main|fopnp/chapter07/(\w+)|fopnp/chapter07/zen/(?:\w+/)*(\w+))\.(.*)\(`)
	closure  = regexp.MustCompile(`(\.func\d+|\.\d+|-range\d+)+$`)
	exported = regexp.MustCompile(`(^|\.)[A-Z]\w*$`)
)
