// The decoder of CTC: judged by listing all paths; the same on any number of threads.
#include "ctc.h"

#include <cstdio>
#include <map>
#include <random>

using namespace gateflow;
using Text = std::vector<int64_t>;

std::mt19937 random_bits(1);

int64_t below(int64_t end) { return static_cast<int64_t>(random_bits() % static_cast<uint64_t>(end)); }

struct Sizes {
    int64_t frames, lines, classes, blank;
};

// Log probabilities of classes, some of them impossible.
template <class T>
std::vector<T> draw(const Sizes& sizes) {
    std::vector<T> numbers(static_cast<size_t>(sizes.frames * sizes.lines * sizes.classes));
    std::uniform_real_distribution<double> uniform(0, 1);
    for (T& each : numbers) each = static_cast<T>(uniform(random_bits) < 0.15 ? NEVER : -4 * uniform(random_bits));
    return numbers;
}

struct Judged {
    double sum = NEVER, best = NEVER;
};

// Every text of a line: the logarithm of the sum over its paths, and of the best of them.
template <class T>
std::map<Text, Judged> all_texts(const Lines<T>& lines, int64_t n) {
    std::map<Text, Judged> found;
    const int64_t length = lines.lengths[n];
    std::vector<int64_t> path(static_cast<size_t>(length), 0);
    while (true) {
        double total = 0;
        Text text;
        for (int64_t t = 0, before = -1; t < length; before = path[t++]) {
            total += static_cast<double>(lines.at(t, n)[path[t]]);
            if (path[t] != lines.blank && path[t] != before) text.push_back(path[t]);
        }
        if (total > NEVER) {
            Judged& of_text = found[text];
            of_text.sum = log_add(of_text.sum, total);
            of_text.best = std::max(of_text.best, total);
        }
        int64_t t = 0;
        while (t < length && ++path[t] == lines.classes) path[t++] = 0;
        if (t == length) return found;
    }
}

bool near(double a, double b) { return std::abs(a - b) < 1e-10; }

template <class T>
bool judge_line(const Lines<T>& lines, int64_t n, int64_t frames) {
    const auto wanted = all_texts(lines, n);
    const int64_t room = static_cast<int64_t>(wanted.size()) + 2, widest = 1000;
    std::vector<int64_t> symbols(static_cast<size_t>(room * frames)), counts(static_cast<size_t>(room));
    std::vector<double> log_probs(counts.size()), scores(counts.size());
    const Limits limits{NEVER, 0.5, lines.classes, widest, room};
    PrefixBeam<T>(limits).search(lines, n, frames, {symbols.data(), counts.data(), log_probs.data(), scores.data()});
    for (int64_t k = 0; k < room; ++k) {
        if (counts[k] < 0) return k == static_cast<int64_t>(wanted.size());
        const int64_t* first = symbols.data() + k * frames;
        const Text text(first, first + counts[k]);
        const auto found = wanted.find(text);
        if (found == wanted.end() || !near(found->second.sum, log_probs[k])) return false;
        if (!near(scores[k], log_probs[k] + 0.5 * static_cast<double>(counts[k]))) return false;
        std::vector<int64_t> spans(2 * text.size() + 1);
        std::vector<double> greatest(text.size() + 1);
        const double best = BestPath<T>().find(lines, n, text.data(), counts[k], spans.data(), greatest.data());
        if (!near(best, found->second.best)) return false;
    }
    return false;
}

template <class T>
bool judge(int rounds) {
    for (int round = 0; round < rounds; ++round) {
        const Sizes sizes{below(6), 1 + below(3), 2 + below(3), 0};
        const auto numbers = draw<T>(sizes);
        std::vector<int64_t> lengths(static_cast<size_t>(sizes.lines));
        for (int64_t& each : lengths) each = below(sizes.frames + 1);
        const Lines<T> lines{numbers.data(), sizes.lines, sizes.classes, below(sizes.classes), lengths.data()};
        for (int64_t n = 0; n < sizes.lines; ++n)
            if (!judge_line(lines, n, sizes.frames)) return false;
    }
    return true;
}

// The texts of many lines, on some threads.
std::vector<int64_t> found_on(int64_t threads, const Lines<float>& lines, int64_t count, int64_t frames) {
    const Limits limits{-3.0, 0.0, 4, 6, 3};
    std::vector<int64_t> symbols(static_cast<size_t>(count * limits.nbest * frames), -1);
    std::vector<int64_t> counts(static_cast<size_t>(count * limits.nbest));
    std::vector<double> log_probs(counts.size()), scores(counts.size());
    for_each_of(count, threads, [&](int64_t n) {
        const int64_t first = n * limits.nbest;
        const Texts to{symbols.data() + first * frames, counts.data() + first, log_probs.data() + first,
                       scores.data() + first};
        PrefixBeam<float>(limits).search(lines, n, frames, to);
    });
    return symbols;
}

int main() {
    if (!judge<float>(150) || !judge<double>(150)) return std::puts("texts or paths differ from a listing of all"), 1;
    const Sizes sizes{40, 30, 9, 0};
    const auto numbers = draw<float>(sizes);
    const std::vector<int64_t> lengths(static_cast<size_t>(sizes.lines), sizes.frames);
    const Lines<float> lines{numbers.data(), sizes.lines, sizes.classes, sizes.blank, lengths.data()};
    if (found_on(1, lines, sizes.lines, sizes.frames) != found_on(3, lines, sizes.lines, sizes.frames))
        return std::puts("threads change what is found"), 1;
    return 0;
}
