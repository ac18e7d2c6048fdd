import Cryptography
import Foundation
import Testing

@testable import Relay

struct WorkQueueTests {
    let queue = WorkQueue<Int>()

    /// What a thread that waits gets, while `body` runs on this one.
    private func take(while body: () -> Void) -> (items: [Int], milliseconds: Double) {
        let start = SystemClock.nanoseconds
        let (taken, end) = (Lock<[Int]>([]), DispatchSemaphore(value: 0))
        let queue = queue
        Thread.detachNewThread {
            let items = queue.takeAll(waitingAtMost: 60_000).items
            taken.withLock { $0 = items }
            end.signal()
        }
        body()
        end.wait()
        return (taken.withLock { $0 }, SystemClock.seconds(since: start) * 1_000)
    }

    @Test func `something urgent takes along what could wait, in its order`() {
        let (items, time) = take {
            queue.add(1, canWait: true)
            queue.add(2, canWait: true)
            usleep(50_000)
            queue.add(3)
        }
        #expect(items == [1, 2, 3])
        #expect(time >= 50)
        #expect(time < 50_000)
    }

    @Test func `what can wait is taken once it has waited long enough`() {
        queue.hurry()
        let (items, time) = take {
            queue.add(1, canWait: true)
            usleep(50_000)
            queue.hurry()
        }
        #expect(items == [1])
        #expect(time >= 50)
        #expect(time < 50_000)
    }

    @Test func `much that can wait doesn't`() {
        let (items, time) = take {
            for number in 0..<32 { queue.add(number, canWait: true) }
        }
        #expect(items == Array(0..<32))
        #expect(time < 50_000)
    }

    @Test func `nothing is waited for twice`() {
        queue.add(1)
        #expect(queue.takeAll(waitingAtMost: 5_000).items == [1])
        queue.add(2, canWait: true)
        #expect(queue.takeAll(waitingAtMost: 0).items == [2])
        #expect(queue.takeAll(waitingAtMost: 1).items.isEmpty)
    }

    @Test func `another thread takes what could wait in place of one who sleeps on`() {
        let (items, _) = take {
            queue.add(1, canWait: true)
            var taken: [Int]?
            // Until it sleeps.
            for _ in 0..<60_000 where taken == nil {
                taken = queue.takeInstead()?.items
                usleep(1_000)
            }
            #expect(taken == [1])
            queue.add(2)
        }
        #expect(items == [2])
    }

    @Test func `nothing is taken in place of one who is away or is being woken`() {
        queue.add(1, canWait: true)
        #expect(queue.takeInstead() == nil)
        queue.add(2)
        #expect(queue.takeInstead() == nil)
        #expect(queue.takeAll(waitingAtMost: 0).items == [1, 2])
    }
}
