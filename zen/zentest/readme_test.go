package zentest

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const readme = "../../README.md"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

// find returns the submatches of pattern in a file, and fails if there is none.
func find(t *testing.T, path, pattern string) [][]string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, path), -1)
	if len(found) == 0 {
		t.Fatalf("%s has nothing that matches %s", path, pattern)
	}
	return found
}

// Each diff in the README is what the command above it prints.
func TestReadmeDiffs(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("SKIPPED: the commands are for bash, which is not here")
	}
	for _, diff := range find(t, readme, "(?s)```diff\n\\$ ([^\n]*)\n(.*?)```") {
		command := exec.Command("bash", "-c", diff[1])
		command.Dir = "../.."
		if output, err := command.Output(); err != nil || string(output) != diff[2] {
			t.Errorf("%s prints\n%s, %v; README.md has\n%s", diff[1], output, err, diff[2])
		}
	}
}

// The README has a link to every program, and no picture that is wider than a page.
func TestReadmePrograms(t *testing.T) {
	t.Parallel()
	text := read(t, readme)
	programs, err := filepath.Glob("../../*/main.go")
	if len(programs) != 10 {
		t.Fatalf("%d programs, %v", len(programs), err)
	}
	for _, program := range programs {
		name := filepath.Base(filepath.Dir(program))
		if !strings.Contains(text, "("+name+"/main.go)") {
			t.Errorf("README.md has no link to %s", name)
		}
	}
	if wide := regexp.MustCompile(`(?m)^([A-F]  [.A-F|-]|srv_).{77,}$`).FindString(text); wide != "" {
		t.Errorf("more than 80 columns: %s", wide)
	}
}

// The lines of Go in the README stand in the two files that it tells of.
func TestReadmeCode(t *testing.T) {
	t.Parallel()
	code := read(t, "../../srv_async/main.go") + read(t, "../blocking.go")
	for _, block := range find(t, readme, "(?s)```go\n(.*?)```") {
		if !strings.Contains(code, block[1]) {
			t.Errorf("the files do not have\n%s", block[1])
		}
	}
}

// The links of each README lead to files and headings.
func TestReadmeLinks(t *testing.T) {
	t.Parallel()
	for _, file := range []string{readme, "../tools/inetd/README.md", "README.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^():#]*)#?([^():]*)\)`).FindAllStringSubmatch(read(t, file), -1) { // no https:
			path, heading := filepath.Join(filepath.Dir(file), cmp.Or(link[1], filepath.Base(file))), link[2]
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", file, err)
			} else if heading != "" && !strings.Contains(strings.ReplaceAll(strings.ToLower(read(t, path)), " ", "-"), "\n##-"+heading+"\n") {
				t.Errorf("%s: %s has no heading for #%s", file, path, heading)
			}
		}
	}
}

// The suite's README has a failure as it looks, apart from numbers and the server's
// command, and judges the originals by rules that there are.
func TestReadmeFailure(t *testing.T) {
	t.Parallel()
	output, _ := testAgain("^TestAny$/^Framing$", faultVariable+"=takes a read for a question", "-server", anotherLanguage(t)).CombinedOutput()
	plain := func(text string) string {
		text = regexp.MustCompile(`-server '.*`).ReplaceAllString(text, "-server 'COMMAND'")
		return regexp.MustCompile(`\d+`).ReplaceAllString(text, "0")
	}
	_, failure, _ := strings.Cut(string(output), "    --- FAIL: ")
	failure, _, _ = strings.Cut(failure, "\nFAIL")
	if failure == "" || !strings.Contains(plain(read(t, "README.md")), plain(failure)) {
		t.Errorf("README.md does not have this failure:\n%s", failure)
	}
	for _, row := range find(t, "README.md", `(?m)^\| ([A-Z]\w+) \|`) {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == row[1] }) {
			t.Errorf("README.md tells of a rule %s, which there is not", row[1])
		}
	}
}
