package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// function is what an operation does.
type function uint8

const (
	read function = iota
	write
	compareAndSet
	remove
	add
	contains
	appendTo
	enqueue
	dequeue
)

// pure functions change nothing, so that one of unknown outcome says nothing.
func (f function) pure() bool {
	return f == read || f == contains
}

// asked is the input of every model.
type asked interface {
	asks() function
	// object is the independent object that the operation is about.
	object() int
}

// call is an invocation with interned values, of which 0 is null.
type call struct {
	key      int
	argument int
	expected int
	function function
}

func (c call) asks() function { return c.function }
func (c call) object() int    { return c.key }

// text is a string that may be absent.
type text struct {
	present bool
	value   string
}

// textCall is an invocation with strings.
type textCall struct {
	argument text
	expected text
	key      int
	function function
}

func (c textCall) asks() function { return c.function }
func (c textCall) object() int    { return c.key }

// shape is how a value is recorded.
type shape uint8

const (
	nothing shape = iota
	single
	pair
	truth
	list
)

// signature is a function of an object with the shapes of its argument and of what it observes.
type signature struct {
	function function
	argument shape
	observes shape
}

// interner gives equal JSON values equal numbers; null is 0.
type interner map[string]int

func (i interner) of(canonical string) int {
	number, known := i[canonical]
	if !known {
		number = len(i) + 1
		i[canonical] = number
	}
	return number
}

// decoder turns recorded values into what Step takes.
type decoder struct {
	subject object
	keys    interner
	values  interner
}

func newDecoder(object object) *decoder {
	return &decoder{subject: object, keys: make(interner), values: make(interner)}
}

func (d *decoder) signature(e *event) (signature, error) {
	found, known := d.subject.functions[e.Function]
	if !known {
		return found, fmt.Errorf("unknown function %q", e.Function)
	}
	return found, nil
}

// call decodes an invocation.
func (d *decoder) call(e *event) (asked, error) {
	signature, err := d.signature(e)
	if err != nil {
		return nil, err
	}
	var argument, expected json.RawMessage
	switch signature.argument {
	case single:
		argument = e.Value
	case pair:
		var both []json.RawMessage
		if err := json.Unmarshal(e.Value, &both); err != nil || len(both) != 2 {
			return nil, fmt.Errorf("%s takes [expected, new], not %s", e.Function, e.Value)
		}
		expected, argument = both[0], both[1]
	}
	key := 0
	if e.Key != nil {
		key = d.keys.of(*e.Key)
	}
	if d.subject.strings {
		return asText(key, signature.function, argument, expected)
	}
	result := call{key: key, function: signature.function}
	if result.argument, err = d.value(argument); err != nil {
		return nil, err
	}
	result.expected, err = d.value(expected)
	return result, err
}

func asText(key int, function function, argument, expected json.RawMessage) (asked, error) {
	result := textCall{key: key, function: function}
	var err error
	if result.argument, err = decodeText(argument); err != nil {
		return nil, err
	}
	result.expected, err = decodeText(expected)
	return result, err
}

// answer decodes an observation.
func (d *decoder) answer(e *event) (interface{}, error) {
	signature, err := d.signature(e)
	if err != nil {
		return nil, err
	}
	switch signature.observes {
	case single:
		if d.subject.strings {
			return decodeText(e.Value)
		}
		return d.value(e.Value)
	case truth:
		var matched bool
		err := json.Unmarshal(e.Value, &matched)
		return matched, err
	case list:
		return d.list(e.Value)
	}
	return done{}, nil
}

// done is the observation of a function that observes nothing. An operation of unknown outcome has none, nil.
type done struct{}

func (d *decoder) list(raw json.RawMessage) (interface{}, error) {
	var elements []json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &elements); err != nil {
			return nil, err
		}
	}
	items := make([]int32, len(elements))
	for i, element := range elements {
		number, err := d.value(element)
		if err != nil {
			return nil, err
		}
		items[i] = int32(number)
	}
	return items, nil
}

// value interns a JSON value. Strings are compared unescaped, numbers by their digits, everything else after its keys
// have been sorted.
func (d *decoder) value(raw json.RawMessage) (int, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return 0, nil
	}
	if first := raw[0]; first == '-' || first >= '0' && first <= '9' {
		return d.values.of(string(raw)), nil
	}
	reader := json.NewDecoder(bytes.NewReader(raw))
	reader.UseNumber()
	var decoded interface{}
	if err := reader.Decode(&decoded); err != nil {
		return 0, err
	}
	canonical, err := json.Marshal(decoded)
	return d.values.of(string(canonical)), err
}

func decodeText(raw json.RawMessage) (text, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return text{}, nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return text{}, fmt.Errorf("expected a string or null, not %s", raw)
	}
	return text{present: true, value: value}, nil
}
