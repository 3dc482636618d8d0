"""The planner: how much each device trains, at which clock, over how much band, for the fewest joules.

P1: minimise the sum of E_cmp + E_com over samples D, busy seconds t, upload seconds s and bandwidth b, subject to
t + s <= T, sum b <= B, mean err(D_loc + eta*(D - D_loc)) <= Delta and the bounds of every device. E_cmp =
n*D*e(t/(n*D)) is the perspective of a convex e, E_com is convex in (b, s), err is convex: the whole is convex, and
duality is exact.

Three kinds of price take the problem apart: lambda (joules per unit of mean error), mu (joules per hertz) and, for each
device, nu (joules per second of its round). With all three given every device's minimum is a closed form over its
*whole* domain, so each price vector gives a rigorous lower bound on the least energy; nothing is truncated and no
bracket need be closed. The inner search looks for nu of every device at once, the outer one for lambda and mu.
`bounds <= optimum <= plan` is what a `Plan` carries.

    problem  ->  validate  ->  build (a `Fleet` of arrays)  ->  feasible (can it be done?)
             ->  dual (lambda, mu) over device_step (nu)  ->  repair (feasible from its numbers alone)
             ->  realise (whole samples, real clocks)  ->  fill (classes)
             ->  check (every constraint again, from the plan's numbers)

Problems and plans are columns over the devices, from file to file: nothing loops over devices, whatever their number.
`Device` and `DevicePlan` are single rows of them, for people and for small fleets.
"""
