#pragma once

#include <cstdint>

#include "quern/kernels/activation.h"
#include "quern/kernels/cpu/elementwise.h"

namespace quern::kernels::reference {

// Plain loops in float64: what the kernels of the same names in cpu/ must compute. T is float or
// double; double serves finite differences. Pointers inside the option structs are read where they
// are not of T (random, offsets, table).

template <class T>
void activation_forward(Activation activation, const T* x, int64_t count, T* y);
template <class T>
void activation_backward(Activation activation, const T* x, const T* y_grad, int64_t count,
                         T* x_grad, bool accumulate);

template <class T>
void gated_unit_forward(Activation activation, const T* x, int64_t rows, int64_t width, T* y);
template <class T>
void gated_unit_backward(Activation activation, const T* x, const T* y_grad, int64_t rows,
                         int64_t width, T* x_grad, bool accumulate);

template <class T>
void add(const T* a, const T* b, int64_t count, int64_t period, double scale, T* c);
template <class T>
void multiply(const T* a, const T* b, int64_t count, int64_t period, T* c);
template <class T>
void scale(const T* x, int64_t count, double factor, T* y, bool accumulate);

/// Whether `dropout` keeps this element of this sample of the batch. Element e takes word
/// (e % 64) / 16 of the Philox block (e / 64)·16 + e % 16; the counter is block, stream·2²⁰ ^
/// layer, global sample, step; the key is the seed.
bool dropout_keeps(const cpu::Dropout& dropout, int64_t sample, int64_t element);
template <class T>
void dropout(const cpu::Dropout& dropout, const T* x, const T* residual, T* y, bool accumulate);

template <class T>
void rope(const cpu::Rope& rope, const T* x, T* y, bool accumulate);

}  // namespace quern::kernels::reference
