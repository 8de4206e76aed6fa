package main

import (
	"hash/maphash"
	"slices"

	"github.com/anishathalye/porcupine"
)

// object is a kind of object: the functions that it has, and its Porcupine model for a history.
type object struct {
	functions map[string]signature
	// strings says that values are strings, because Step puts them together.
	strings bool
	model   func(*history) porcupine.Model
}

var objects = map[string]object{
	"register":     {functions: registerFunctions, model: registerModel},
	"cas-register": {functions: registerFunctions, model: registerModel},
	"kv": {strings: true, model: kvModel, functions: map[string]signature{
		"get":    {read, nothing, single},
		"put":    {write, single, nothing},
		"append": {appendTo, single, nothing},
		"cas":    {compareAndSet, pair, truth},
		"delete": {remove, nothing, nothing},
	}},
	"set": {model: setModel, functions: map[string]signature{
		"add":      {add, single, nothing},
		"remove":   {remove, single, nothing},
		"contains": {contains, single, truth},
		"read":     {read, nothing, list},
	}},
	"queue":           {functions: queueFunctions, model: queueModel},
	"unordered-queue": {functions: queueFunctions, model: bagModel},
	"append-list": {model: appendListModel, functions: map[string]signature{
		"append": {appendTo, single, nothing},
		"read":   {read, nothing, list},
	}},
}

var registerFunctions = map[string]signature{
	"read":  {read, nothing, single},
	"write": {write, single, nothing},
	"cas":   {compareAndSet, pair, truth},
}

var queueFunctions = map[string]signature{
	"enqueue": {enqueue, single, nothing},
	"dequeue": {dequeue, nothing, single},
}

// byKey splits a history into its independent objects.
func byKey(operations []porcupine.Operation) [][]porcupine.Operation {
	return split(operations, func(c asked) int { return c.object() })
}

func split[K comparable](operations []porcupine.Operation, of func(asked) K) [][]porcupine.Operation {
	places := make(map[K]int)
	var parts [][]porcupine.Operation
	for _, operation := range operations {
		key := of(operation.Input.(asked))
		place, known := places[key]
		if !known {
			place = len(parts)
			places[key] = place
			parts = append(parts, nil)
		}
		parts[place] = append(parts[place], operation)
	}
	return parts
}

// mix spreads a number over 64 bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func hashItems(items []int32) uint64 {
	hash := uint64(len(items))
	for _, item := range items {
		hash = mix(hash ^ uint64(item))
	}
	return hash
}

// registerModel: the state is an interned value.
func registerModel(*history) porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() interface{} { return 0 },
		Hash:      func(state interface{}) uint64 { return mix(uint64(state.(int))) },
		Step: func(state, input, output interface{}) (bool, interface{}) {
			asked := input.(call)
			switch asked.function {
			case read:
				return state == output, state
			case write:
				return true, asked.argument
			}
			matches := state.(int) == asked.expected
			if output != nil && output.(bool) != matches {
				return false, nil
			}
			if matches {
				return true, asked.argument
			}
			return true, state
		},
	}
}

// kvModel: the state is one string, or none.
func kvModel(*history) porcupine.Model {
	seed := maphash.MakeSeed()
	return porcupine.Model{
		Partition: byKey,
		Init:      func() interface{} { return text{} },
		Hash: func(state interface{}) uint64 {
			held := state.(text)
			if !held.present {
				return 0
			}
			return maphash.String(seed, held.value)
		},
		Equal: func(one, other interface{}) bool { return one.(text) == other.(text) },
		Step: func(state, input, output interface{}) (bool, interface{}) {
			held, asked := state.(text), input.(textCall)
			switch asked.function {
			case read:
				return held == output.(text), state
			case write:
				return true, asked.argument
			case appendTo:
				return true, text{present: true, value: held.value + asked.argument.value}
			case remove:
				return true, text{}
			}
			matches := held == asked.expected
			if output != nil && output.(bool) != matches {
				return false, nil
			}
			if matches {
				return true, asked.argument
			}
			return true, state
		},
	}
}

// setModel: without reads of the whole set its elements are independent of each other.
func setModel(history *history) porcupine.Model {
	if history.used[read] {
		return wholeSetModel()
	}
	return porcupine.Model{
		Partition: func(operations []porcupine.Operation) [][]porcupine.Operation {
			return split(operations, func(c asked) [2]int { return [2]int{c.object(), c.(call).argument} })
		},
		Init: func() interface{} { return false },
		Hash: func(state interface{}) uint64 {
			if state.(bool) {
				return mix(1)
			}
			return 0
		},
		Step: func(state, input, output interface{}) (bool, interface{}) {
			switch input.(call).function {
			case add:
				return true, true
			case remove:
				return true, false
			}
			return state == output, state
		},
	}
}

// wholeSetModel: the state is the sorted slice of elements.
func wholeSetModel() porcupine.Model {
	return itemsModel(func(state, input, output interface{}) (bool, interface{}) {
		held, asked := state.([]int32), input.(call)
		if asked.function == read {
			seen := slices.Clone(output.([]int32))
			slices.Sort(seen)
			return slices.Equal(held, seen), state
		}
		place, present := slices.BinarySearch(held, int32(asked.argument))
		switch {
		case asked.function == contains:
			return present == output.(bool), state
		case asked.function == add && !present:
			return true, with(held, place, int32(asked.argument))
		case asked.function == remove && present:
			return true, without(held, place)
		}
		return true, state
	})
}

// queueModel: the state is the slice of elements, first in first. A dequeue shares memory with the state before it.
func queueModel(*history) porcupine.Model {
	return itemsModel(func(state, input, output interface{}) (bool, interface{}) {
		held, asked := state.([]int32), input.(call)
		if asked.function == enqueue {
			return true, with(held, len(held), int32(asked.argument))
		}
		first := 0
		if len(held) > 0 {
			first = int(held[0])
		}
		if output != nil && output.(int) != first {
			return false, nil
		}
		if len(held) == 0 {
			return true, state
		}
		return true, held[1:]
	})
}

// bag is the state of an unordered queue: its sorted elements, and how many dequeues of unknown outcome may each have
// taken any one of them. Which one is left open until a dequeue finds the bag empty: such a dequeue may take effect at any
// later time as well, so that nothing is lost by deciding late.
type bag struct {
	items  []int32
	takers int
}

// bagModel: one state instead of the power set that Porcupine's nondeterministic models need.
func bagModel(*history) porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() interface{} { return bag{} },
		Hash: func(state interface{}) uint64 {
			held := state.(bag)
			return mix(hashItems(held.items) ^ uint64(held.takers)<<32)
		},
		Equal: func(one, other interface{}) bool {
			return one.(bag).takers == other.(bag).takers && slices.Equal(one.(bag).items, other.(bag).items)
		},
		Step: func(state, input, output interface{}) (bool, interface{}) {
			return state.(bag).step(input.(call), output)
		},
	}
}

func (b bag) step(asked call, output interface{}) (bool, interface{}) {
	if asked.function == enqueue {
		place, _ := slices.BinarySearch(b.items, int32(asked.argument))
		return true, bag{with(b.items, place, int32(asked.argument)), b.takers}
	}
	if output == nil {
		return true, bag{b.items, b.takers + 1}
	}
	if output.(int) == 0 {
		left := b.takers - len(b.items)
		return left >= 0, bag{nil, left}
	}
	place, present := slices.BinarySearch(b.items, int32(output.(int)))
	if !present {
		return false, nil
	}
	return true, bag{without(b.items, place), b.takers}
}

// appendListModel: the state is the slice of elements in their order.
func appendListModel(*history) porcupine.Model {
	return itemsModel(func(state, input, output interface{}) (bool, interface{}) {
		held, asked := state.([]int32), input.(call)
		if asked.function == read {
			return slices.Equal(held, output.([]int32)), state
		}
		return true, with(held, len(held), int32(asked.argument))
	})
}

// itemsModel: the state is a slice of elements. Slices are never written to after they are made.
func itemsModel(step func(state, input, output interface{}) (bool, interface{})) porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() interface{} { return []int32{} },
		Hash:      func(state interface{}) uint64 { return hashItems(state.([]int32)) },
		Equal:     equalItems,
		Step:      step,
	}
}

func equalItems(one, other interface{}) bool {
	return slices.Equal(one.([]int32), other.([]int32))
}

// with is a copy of items with one more at a place.
func with(items []int32, place int, item int32) []int32 {
	longer := make([]int32, len(items)+1)
	copy(longer, items[:place])
	longer[place] = item
	copy(longer[place+1:], items[place:])
	return longer
}

// without is a copy of items with one less at a place.
func without(items []int32, place int) []int32 {
	shorter := make([]int32, len(items)-1)
	copy(shorter, items[:place])
	copy(shorter[place:], items[place+1:])
	return shorter
}
