// Command porcupine judges one recorded history with Porcupine and prints one line of JSON: the verdict, how many
// operations the file holds, how long reading and checking took, and the peak of resident memory.
//
//	porcupine FILE MODEL SECONDS BYTES
//
// Models and measuring favour Porcupine where there is a choice: values are interned while reading, histories are split as
// far as the model allows, every state has a hash, what reading left behind is collected before checking, and of several
// repetitions the fastest counts. The memory limit is enforced by whoever starts this program; here the collector is told
// of it, so that close to the limit it works instead of growing.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// repeatUntil is how long a check that ends sooner is repeated.
const repeatUntil = 50 * time.Millisecond

// line is what is printed.
type line struct {
	Verdict      string  `json:"verdict"`
	Operations   int     `json:"operations"`
	ParseSeconds float64 `json:"parse_seconds"`
	CheckSeconds float64 `json:"check_seconds"`
	Repetitions  int     `json:"repetitions"`
	PeakBytes    uint64  `json:"peak_bytes"`
	Note         string  `json:"note,omitempty"`
}

func main() {
	result, err := run(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "porcupine:", err)
		os.Exit(1)
	}
}

func run(arguments []string) (line, error) {
	if len(arguments) != 4 {
		return line{}, errors.New("usage: porcupine FILE MODEL SECONDS BYTES")
	}
	seconds, err := strconv.ParseUint(arguments[2], 10, 32)
	if err != nil || seconds == 0 {
		return line{}, fmt.Errorf("SECONDS must be a whole number above 0, not %q", arguments[2])
	}
	bytes, err := strconv.ParseInt(arguments[3], 10, 64)
	if err != nil || bytes <= 0 {
		return line{}, fmt.Errorf("BYTES must be a whole number above 0, not %q", arguments[3])
	}
	object, known := objects[arguments[1]]
	if !known {
		return line{Verdict: "unsupported", Note: "no model " + arguments[1]}, nil
	}
	debug.SetMemoryLimit(bytes / 16 * 15)
	return judge(arguments[0], object, time.Duration(seconds)*time.Second)
}

// judge reads a history and checks it until repeatUntil is spent.
func judge(path string, object object, limit time.Duration) (line, error) {
	start := time.Now()
	history, err := readFile(path, object)
	if err != nil {
		return line{}, err
	}
	result := line{Operations: history.invocations, ParseSeconds: time.Since(start).Seconds()}
	model := object.model(history)
	runtime.GC()
	var spent, fastest time.Duration
	for result.Repetitions == 0 || spent < repeatUntil {
		start = time.Now()
		verdict := porcupine.CheckOperationsTimeout(model, history.operations, limit)
		took := time.Since(start)
		result.Repetitions++
		spent += took
		if result.Repetitions == 1 {
			result.Verdict = strings.ToLower(string(verdict))
			if result.PeakBytes, err = peakBytes(); err != nil {
				return line{}, err
			}
		}
		if fastest == 0 || took < fastest {
			fastest = took
		}
	}
	result.CheckSeconds = fastest.Seconds()
	return result, nil
}

// peakBytes is the most memory that this process ever had resident.
func peakBytes() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, text := range strings.Split(string(status), "\n") {
		if fields := strings.Fields(text); len(fields) == 3 && fields[0] == "VmHWM:" {
			kibibytes, err := strconv.ParseUint(fields[1], 10, 64)
			return kibibytes << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmHWM")
}
