// Decoding by CTC: the prefix beam search and the best paths of `decoding/ctc`, a line or a text at a time.
//
// The definition is in numpy (`search.py`, `lattice.py`); this computes the same numbers in the same order.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "threads.h"

namespace [[gnu::visibility("hidden")]] gateflow {

constexpr double NEVER = -std::numeric_limits<double>::infinity();

// numpy's `logaddexp`, to the bit.
inline double log_add(double x, double y) {
    if (x == y) return x + 0.693147180559945309417232121458176568;
    return x > y ? x + std::log1p(std::exp(y - x)) : y + std::log1p(std::exp(x - y));
}

// Log probabilities [frames, lines, classes].
template <class T>
struct Lines {
    const T* log_probs;
    int64_t lines, classes, blank;
    const int64_t* lengths;

    const T* at(int64_t t, int64_t n) const { return log_probs + (t * lines + n) * classes; }
};

// work(n) for all n, each on the thread that is free first.
template <class Work>
void for_each_of(int64_t count, int64_t threads, const Work& work) {
    std::atomic<int64_t> next{0};
    in_parallel(threads, [&](int64_t, int64_t) {
        for (int64_t n; (n = next.fetch_add(1)) < count;) work(n);
    });
}

// Prefixes as nodes of a tree, so that equal ones are one node; node 0 is the empty one.
class Trie {
  public:
    void clear() { nodes_.assign(1, {-1, -1, -1, -1}); }

    int64_t extended(int64_t node, int64_t symbol) {
        for (int64_t child = nodes_[node].child; child >= 0; child = nodes_[child].sibling)
            if (nodes_[child].symbol == symbol) return child;
        const int64_t fresh = static_cast<int64_t>(nodes_.size());
        nodes_.push_back({node, symbol, -1, nodes_[node].child});
        nodes_[node].child = fresh;
        return fresh;
    }

    // Writes the symbols of a prefix and returns how many there are.
    int64_t spell(int64_t node, int64_t* to) const {
        int64_t count = 0;
        for (; node > 0; node = nodes_[node].parent) to[count++] = nodes_[node].symbol;
        std::reverse(to, to + count);
        return count;
    }

  private:
    struct Node {
        int64_t parent, symbol, child, sibling;
    };
    std::vector<Node> nodes_;
};

// What a search looks at, and how it ranks.
struct Limits {
    double least, insertion;
    int64_t most, beam, nbest;
};

// Where the texts of a line go: [nbest, frames] symbols, their numbers (-1 for no text), log probabilities and scores.
struct Texts {
    int64_t *symbols, *counts;
    double *log_probs, *scores;
};

template <class T>
class PrefixBeam {
  public:
    explicit PrefixBeam(const Limits& limits) : limits_(limits) {}

    void search(const Lines<T>& lines, int64_t n, int64_t frames, const Texts& to) {
        trie_.clear();
        beam_.assign(1, {0, -1, lines.blank, 0.0, NEVER, 0.0, 0.0});
        all_.assign(lines.classes, NEVER);
        for (int64_t t = 0; t < lines.lengths[n]; ++t) {
            const T* frame = lines.at(t, n);
            look_at(frame, lines.classes, lines.blank);
            if (seen_.empty()) {
                waited_ += static_cast<double>(frame[lines.blank]);
                waits_ = true;
            } else {
                wait();
                step(static_cast<double>(frame[lines.blank]));
            }
        }
        wait();
        tell(frames, to);
    }

  private:
    struct Seen {
        int64_t symbol;
        double log_prob;
    };
    struct Prefix {
        int64_t node, parent, last;
        double blank, symbol, added, total;  // total: of all its paths, whatever they end in
    };
    struct Candidate {
        double rank;
        int64_t place;  // of a prefix that stays, else beam + prefix · symbols + symbol

        bool operator<(const Candidate& other) const {
            return rank != other.rank ? rank > other.rank : place < other.place;
        }
    };

    // The symbols of a frame that are probable enough, in rising order.
    void look_at(const T* frame, int64_t classes, int64_t blank) {
        const T least = static_cast<T>(limits_.least);
        seen_.clear();
        for (int64_t c = 0; c < classes; ++c)
            if (frame[c] >= least && c != blank) seen_.push_back({c, static_cast<double>(frame[c])});
        if (static_cast<int64_t>(seen_.size()) <= limits_.most) return;
        std::nth_element(seen_.begin(), seen_.begin() + limits_.most, seen_.end(), [](const Seen& a, const Seen& b) {
            return a.log_prob != b.log_prob ? a.log_prob > b.log_prob : a.symbol < b.symbol;
        });
        seen_.resize(limits_.most);
        std::sort(seen_.begin(), seen_.end(), [](const Seen& a, const Seen& b) { return a.symbol < b.symbol; });
    }

    // Lets frames of nothing but blanks go by.
    void wait() {
        if (waits_)
            for (Prefix& each : beam_) {
                each.blank = each.total = each.total + waited_;
                each.symbol = NEVER;
            }
        waits_ = false;
        waited_ = 0.0;
    }

    void step(double blank) {
        const size_t width = beam_.size(), symbols = seen_.size();
        longer_.resize(width * symbols);
        for (size_t k = 0; k < width; ++k)
            for (size_t s = 0; s < symbols; ++s)
                longer_[k * symbols + s] =
                    (seen_[s].symbol == beam_[k].last ? beam_[k].blank : beam_[k].total) + seen_[s].log_prob;
        for (size_t s = 0; s < symbols; ++s) all_[seen_[s].symbol] = seen_[s].log_prob;
        staying_.resize(width);
        for (size_t k = 0; k < width; ++k) {
            const double again = all_[beam_[k].last];
            Prefix& stays = staying_[k] = beam_[k];
            stays.blank = beam_[k].total + blank;
            stays.symbol = beam_[k].symbol + again;
            if (again > NEVER) join_parent(k, symbols);
            stays.total = log_add(stays.blank, stays.symbol);
        }
        for (const Seen& each : seen_) all_[each.symbol] = NEVER;
        choose(symbols);
        follow(symbols);
    }

    // A prefix may be in the beam, and the prefix without its last symbol too: then it is reached from there, and is no
    // new one.
    void join_parent(size_t child, size_t symbols) {
        for (size_t parent = 0; parent < beam_.size(); ++parent) {
            if (beam_[parent].node != beam_[child].parent) continue;
            size_t place = parent * symbols;
            for (size_t s = 0; seen_[s].symbol != beam_[child].last; ++s) ++place;
            staying_[child].symbol = log_add(staying_[child].symbol, longer_[place]);
            longer_[place] = NEVER;
            return;
        }
    }

    void choose(size_t symbols) {
        const size_t width = beam_.size(), beam = static_cast<size_t>(limits_.beam);
        candidates_.clear();
        double floor = std::numeric_limits<double>::infinity();
        for (size_t k = 0; k < width; ++k) {
            const double rank = staying_[k].total + staying_[k].added;
            floor = std::min(floor, rank);
            if (rank > NEVER) candidates_.push_back({rank, static_cast<int64_t>(k)});
        }
        // As many as the beam is wide are at least as good already, and of equals those that stay come first.
        if (candidates_.size() < beam) floor = NEVER;
        for (size_t k = 0; k < width; ++k) {
            const double added = beam_[k].added + limits_.insertion;
            for (size_t s = 0; s < symbols; ++s) {
                const double rank = longer_[k * symbols + s] + added;
                if (rank > floor) candidates_.push_back({rank, static_cast<int64_t>(beam + k * symbols + s)});
            }
        }
        if (candidates_.size() > beam) {
            std::nth_element(candidates_.begin(), candidates_.begin() + beam, candidates_.end());
            candidates_.resize(beam);
        }
        std::sort(candidates_.begin(), candidates_.end());
    }

    void follow(size_t symbols) {
        next_.clear();
        for (const Candidate& each : candidates_) {
            if (each.place < limits_.beam) {
                next_.push_back(staying_[each.place]);
                continue;
            }
            const int64_t place = each.place - limits_.beam;
            const Prefix& from = beam_[place / symbols];
            const int64_t symbol = seen_[place % symbols].symbol;
            const int64_t node = trie_.extended(from.node, symbol);
            const double reached = longer_[place];
            next_.push_back({node, from.node, symbol, NEVER, reached, from.added + limits_.insertion, reached});
        }
        beam_.swap(next_);
    }

    void tell(int64_t frames, const Texts& to) {
        std::stable_sort(beam_.begin(), beam_.end(), [](const Prefix& a, const Prefix& b) {
            return a.total + a.added > b.total + b.added;
        });
        for (int64_t k = 0; k < limits_.nbest; ++k) {
            to.counts[k] = -1;
            if (k >= static_cast<int64_t>(beam_.size()) || !(beam_[k].total > NEVER)) continue;
            to.counts[k] = trie_.spell(beam_[k].node, to.symbols + k * frames);
            to.log_probs[k] = beam_[k].total;
            to.scores[k] = beam_[k].total + beam_[k].added;
        }
    }

    Limits limits_;
    Trie trie_;
    std::vector<Prefix> beam_, staying_, next_;
    std::vector<Seen> seen_;
    std::vector<double> all_, longer_;  // of each class, NEVER where it is not seen; [prefix, symbol]
    std::vector<Candidate> candidates_;
    bool waits_ = false;
    double waited_ = 0.0;
};

// The best path of a text through the lattice of its symbols and blanks.
template <class T>
class BestPath {
  public:
    // Returns its log probability, and writes for each symbol its first and last frame and its greatest log probability
    // in between.
    double find(const Lines<T>& lines, int64_t n, const int64_t* symbols, int64_t count, int64_t* spans, double* best) {
        const int64_t length = lines.lengths[n], states = 2 * count + 1;
        if (length == 0) return count ? NEVER : 0.0;
        class_of_.assign(states, lines.blank);
        for (int64_t u = 0; u < count; ++u) class_of_[2 * u + 1] = symbols[u];
        reached_.assign(states, NEVER);
        further_.assign(states, NEVER);
        steps_.assign(length * states, 0);
        for (int64_t s = 0; s < std::min<int64_t>(states, 2); ++s) reached_[s] = lines.at(0, n)[class_of_[s]];
        for (int64_t t = 1; t < length; ++t) go_on(lines.at(t, n), t, length, states);
        const double blank = reached_[states - 1], symbol = count ? reached_[states - 2] : NEVER;
        int64_t state = count && blank < symbol ? states - 2 : states - 1;
        std::fill(spans, spans + 2 * count, -1);
        std::fill(best, best + count, NEVER);
        for (int64_t t = length - 1; t >= 0; --t) {
            if (state % 2) {
                const int64_t u = state / 2;
                spans[2 * u] = t;
                if (spans[2 * u + 1] < 0) spans[2 * u + 1] = t;
                best[u] = std::max(best[u], static_cast<double>(lines.at(t, n)[symbols[u]]));
            }
            state -= steps_[t * states + state];
        }
        return std::max(blank, symbol);
    }

  private:
    void go_on(const T* frame, int64_t t, int64_t length, int64_t states) {
        // No path has come further, and none that lags behind reaches the end.
        const int64_t first = std::max<int64_t>(0, states - 2 * (length - t)), end = std::min(states, 2 * t + 2);
        for (int64_t s = first; s < end; ++s) {
            double best = reached_[s];
            uint8_t step = 0;
            if (s > 0 && reached_[s - 1] > best) best = reached_[s - 1], step = 1;
            if (s > 2 && s % 2 && class_of_[s] != class_of_[s - 2] && reached_[s - 2] > best)
                best = reached_[s - 2], step = 2;
            further_[s] = best + static_cast<double>(frame[class_of_[s]]);
            steps_[t * states + s] = step;
        }
        reached_.swap(further_);
    }

    std::vector<int64_t> class_of_;
    std::vector<double> reached_, further_;
    std::vector<uint8_t> steps_;
};

}  // namespace gateflow
