/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Everyone to everyone: what kho matrix has found out, and its picture. */
#ifndef TOOLS_KHO_MATRIX_H
#define TOOLS_KHO_MATRIX_H

#include "target-classes.h"

/* What a cell says. */
enum cell {
	CELL_COMPATIBLE,
	CELL_OLDER,
	CELL_DEGRADED,
	CELL_INCOMPATIBLE,
	CELLS,
};

/**
 * struct matrix - everyone to everyone
 * @targets: in classes
 * @opts: how to check
 * @n: classes
 * @cells: enum cell of row FROM, column TO
 * @count: how many of each
 */
struct matrix {
	struct targets targets;
	struct kho_check_opts opts;
	size_t n;
	unsigned char *cells;
	size_t count[CELLS];
};

static inline enum cell matrix_cell(const struct matrix *matrix, size_t from,
				    size_t to)
{
	return (enum cell)matrix->cells[from * matrix->n + to];
}

#define STEPS_NEVER SIZE_MAX

/*
 * For each class the number of updates that lead from it to the last class, or
 * STEPS_NEVER; to free().
 */
size_t *matrix_steps(const struct matrix *matrix);

/* Classes that a picture or a table can have. */
#define MATRIX_SHOWN_MAX 500

/*
 * Draws the matrix (matrix-svg.c). Return: false when that cannot be done, and
 * that was said.
 */
bool svg_write(const struct matrix *matrix, const char *path);

#endif
