/// What is to happen, by time; what was planned first comes first at the same time.
struct EventQueue {
    enum Event {
        case toRelay(Int)
        case toDevice(Int)
        case noticeAtRelay(Int)
        case noticeAtDevice(Int)
        case durable(Int)
        case released(Int)
        case relayStart(Int)
        case relayTick(Int)
        case relayDue(Int)
        case act(Int)
        case wake(Int, Int)
        case deviceStart(Int, Int)
        case dial(Int, Int)
        case attack(Int)
        case fault
        case mend(Int)
    }

    private struct Entry {
        var time: Int
        var order: Int
        var event: Event

        static func < (left: Entry, right: Entry) -> Bool {
            left.time != right.time ? left.time < right.time : left.order < right.order
        }
    }

    private var heap: [Entry] = []
    private var order = 0

    mutating func plan(_ event: Event, at time: Int) {
        order += 1
        heap.append(Entry(time: time, order: order, event: event))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child] < heap[parent] else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func next() -> (time: Int, event: Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        return (first.time, first.event)
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child] < heap[least] {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
